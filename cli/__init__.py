"""The command line: one thin file a command, every option turned into a value at the edge.

Installed as the package ``geoseg_cli``; imports inside are relative. What is heavy is imported by the
command that needs it, so that ``geoseg --help`` answers at once.
"""
