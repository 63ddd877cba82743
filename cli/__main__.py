"""Run the command ``geoseg`` as ``python -m geoseg_cli``."""

from .main import main

main()
