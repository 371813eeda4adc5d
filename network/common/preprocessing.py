"""What images are before they enter a network; without TensorFlow, for tools that handle files."""

import numpy as np

# The original's mean colour, subtracted from RGB in 0..255; padding is 0 after that.
MEAN_RGB = np.array([122.675, 116.669, 104.008], np.float32)
MEAN_RGB.flags.writeable = False
