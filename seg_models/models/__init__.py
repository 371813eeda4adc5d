"""Networks assembled from a backbone and a head."""

from seg_models.models.registry import (
    BACKBONES,
    HEADS,
    ModelConfig,
    build_model,
    is_head,
    output_stride_of,
    variable_names,
)

__all__ = [
    'BACKBONES', 'HEADS', 'ModelConfig', 'build_model', 'is_head', 'output_stride_of',
    'variable_names']
