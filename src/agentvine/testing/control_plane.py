"""The conformance suite of a server: what `wire.control_plane` and `wire.front_desk` promise, proven.

A test module makes it its own with a fixture `site` (see `agentvine.testing.site.Site`) and

    class TestMyServer(ControlPlaneSuite):
        pass

It speaks through the two contracts only, so it runs on any database and across any wire.
"""

from agentvine.testing.suites.answers import Answers, Approvals
from agentvine.testing.suites.claims import Claims, LongPolls
from agentvine.testing.suites.comments import Comments
from agentvine.testing.suites.conversations import Conversations
from agentvine.testing.suites.endings import Endings
from agentvine.testing.suites.leases import Leases, Workers
from agentvine.testing.suites.onward import Onward
from agentvine.testing.suites.people import Audit, Events, Keys, Listings, Submissions
from agentvine.testing.suites.precedents import Precedents
from agentvine.testing.suites.reports import Reports
from agentvine.testing.suites.repositories import Repositories, RepositoryRules, RepositorySecrets


class ControlPlaneSuite(
    Claims,
    LongPolls,
    Leases,
    Workers,
    Endings,
    Onward,
    Conversations,
    Answers,
    Approvals,
    Comments,
    Precedents,
    Reports,
    Submissions,
    Listings,
    Events,
    Keys,
    Audit,
    Repositories,
    RepositorySecrets,
    RepositoryRules,
):
    """All of it."""
