"""`python -m turnd`."""

import sys

from turnd.cli import main

sys.exit(main())
