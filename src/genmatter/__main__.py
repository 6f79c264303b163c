"""`python -m genmatter` is `genmatter`."""

from genmatter.cli import main

raise SystemExit(main())
