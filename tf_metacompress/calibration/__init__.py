"""Quantisation without training: ranges and biases of a student set on representative data."""

from tf_metacompress.calibration.calibrate import CalibrationReport, calibrate
from tf_metacompress.calibration.histogram import RANGE_SETTINGS

__all__ = ["RANGE_SETTINGS", "CalibrationReport", "calibrate"]
