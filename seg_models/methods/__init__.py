"""The methods, by the name that metadata and scripts use."""

from seg_models.methods.contrast import Contrast
from seg_models.methods.segsort import SegSort
from seg_models.methods.segsort_unsup import SegSortUnsup
from seg_models.methods.softmax import Softmax

METHODS = {method.name: method for method in (SegSort, SegSortUnsup, Softmax, Contrast)}
