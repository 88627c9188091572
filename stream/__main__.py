"""`python -m stream` is `roadmask`."""

from .cli import main

raise SystemExit(main())
