"""What every test shares: two logical CPU devices, on which replicas are tested."""

import gc
import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

import tensorflow as tf  # noqa: E402

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices('CPU')[0], [tf.config.LogicalDeviceConfiguration()] * 2)

# Tracing makes objects by the million, and few of them are garbage: looking for it as often as
# Python does by default (every 700 objects) takes a tenth of the time of tests, for nothing.
gc.set_threshold(50_000, 20, 20)
