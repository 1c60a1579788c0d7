"""`python -m agentvine`."""

from agentvine.entry import main

if __name__ == "__main__":
    main()
