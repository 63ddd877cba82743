"""``python -m geoseg_cli`` is the command ``geoseg``."""

from .main import main

main()
