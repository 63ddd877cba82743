"""The command line: one short file per command; option values are parsed before they reach the library.

Installed as the package ``geoseg_cli``; imports inside are relative. What is heavy is imported by the
command that needs it, so that ``geoseg --help`` answers at once.
"""
