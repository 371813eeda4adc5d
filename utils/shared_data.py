"""Where the tests find the reference vectors and real images that are not part of the project."""

import os
import pathlib


def shared(*parts):
  """Path below the shared folder (environment variable SEGSORT_SHARED, default `../shared`).

  Skips the calling test with a clear message where the folder or file is missing: the project
  builds and passes its tests without it. Where SEGSORT_REQUIRE_SHARED is set, as in CI, the test
  fails instead, so that nothing is left out unseen.
  """
  import pytest  # only tests call this; pytest is not needed to run the project

  root = pathlib.Path(__file__).resolve().parents[1]
  path = pathlib.Path(os.environ.get('SEGSORT_SHARED', '../shared'))
  path = (root / path).joinpath(*parts)
  if not path.exists():
    if os.environ.get('SEGSORT_REQUIRE_SHARED'):
      pytest.fail(f'{path} is missing where SEGSORT_REQUIRE_SHARED demands it')
    pytest.skip(f'{path} is missing: set SEGSORT_SHARED to the folder with reference/ and data/')
  return path
