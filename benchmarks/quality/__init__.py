"""The parts of policy_quality.py."""
