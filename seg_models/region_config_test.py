import pytest

from seg_models.region_config import RegionConfig


@pytest.mark.parametrize('options, expected', [
    ({}, False), ({'initial_segments': 'oversegmentation'}, True),
    ({'align_segments': True}, True)])
def test_regions_are_needed_where_an_option_asks_for_them(options, expected):
  assert RegionConfig(**options).needs_regions is expected


@pytest.mark.parametrize('options, message', [
    ({'initial_segments': 'regions'}, '--initial_segments regions: expected one of grid, over'),
    ({'min_piece_share': 1.5}, '--min_piece_share 1.5'),
    ({'min_piece_share': -0.1}, '--min_piece_share -0.1'),
    ({'min_piece_share': float('nan')}, '--min_piece_share nan'),
    ({'max_regions': 0}, '--max_regions 0'),
])
def test_impossible_options_are_refused_by_flag(options, message):
  with pytest.raises(ValueError, match=message):
    RegionConfig(**options)
