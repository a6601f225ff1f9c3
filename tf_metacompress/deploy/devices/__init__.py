"""Where a file can be timed. Importing this package registers the devices that come with it."""

from tf_metacompress.deploy.devices.android import AndroidDevice
from tf_metacompress.deploy.devices.device import (
    Device,
    Runs,
    device_names,
    get_device,
    register_device,
    register_device_kind,
)
from tf_metacompress.deploy.devices.host import HOST, HostDevice
from tf_metacompress.deploy.devices.ssh import SshDevice

__all__ = [
    "HOST",
    "AndroidDevice",
    "Device",
    "HostDevice",
    "Runs",
    "SshDevice",
    "device_names",
    "get_device",
    "register_device",
    "register_device_kind",
]
