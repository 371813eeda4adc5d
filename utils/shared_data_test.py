import pytest

from utils.shared_data import shared


def test_present_file_is_returned(monkeypatch, tmp_path):
  (tmp_path / 'a.npz').touch()
  monkeypatch.setenv('SEGSORT_SHARED', str(tmp_path))
  assert shared('a.npz') == tmp_path / 'a.npz'


def test_missing_file_fails_where_it_is_required(monkeypatch, tmp_path):
  monkeypatch.setenv('SEGSORT_SHARED', str(tmp_path))
  monkeypatch.setenv('SEGSORT_REQUIRE_SHARED', '1')
  with pytest.raises(pytest.fail.Exception, match='a.npz is missing'):
    shared('a.npz')


def test_missing_file_skips_and_says_what_to_set(monkeypatch, tmp_path):
  monkeypatch.delenv('SEGSORT_REQUIRE_SHARED', raising=False)
  monkeypatch.setenv('SEGSORT_SHARED', str(tmp_path))
  with pytest.raises(pytest.skip.Exception, match='set SEGSORT_SHARED'):
    shared('a.npz')
