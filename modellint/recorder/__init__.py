"""What runs inside the user's process: watches training steps and writes what it measures as plain records.

Standard library and torch only, the syntax of Python 3.9, and nothing of modellint: it is loaded by path into
environments that do not have it.
"""
