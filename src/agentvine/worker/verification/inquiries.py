"""The further questions that are asked about a result, in their order: the cheap ones first."""

from agentvine.worker.verification import honesty, tested_change
from agentvine.worker.verification.coverage_kept import COVERAGE
from agentvine.worker.verification.inquiry import Inquiry
from agentvine.worker.verification.lint import LINT

INQUIRIES: tuple[Inquiry, ...] = (
    honesty.STAND_INS_INQUIRY,
    honesty.ANSWERS_INQUIRY,
    honesty.CLAIMS_INQUIRY,
    LINT,
    tested_change.INQUIRY,
    COVERAGE,
)
