"""The parts of reference_models.py."""
