"""Hand-over of a model to an app: the folder, its Kotlin code, its test and its page."""

from tf_metacompress.deploy.handover.bundle import BundleReport, bundle_android

__all__ = ["BundleReport", "bundle_android"]
