"""OpenCV, or an error that says which package to install: `from utils.opencv import cv2`."""

try:
  import cv2
except ImportError as error:
  raise ImportError(
      f'OpenCV cannot be imported ({error}). Where libGL or another library of the desktop is '
      'missing, as on servers: pip uninstall opencv-python; pip install '
      '"opencv-python-headless>=4.10,<6". Where OpenCV itself is missing: pip install -r '
      'requirements.txt') from error

__all__ = ['cv2']
