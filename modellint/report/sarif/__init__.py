"""The parts of a SARIF log: rules, places and results."""
