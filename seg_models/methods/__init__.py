"""The methods, by the name that metadata and scripts use."""

from seg_models.methods.segsort import SegSort
from seg_models.methods.segsort_unsup import SegSortUnsup
from seg_models.methods.softmax import Softmax

METHODS = {'segsort': SegSort, 'segsort_unsup': SegSortUnsup, 'softmax': Softmax}
