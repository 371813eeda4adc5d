import dataclasses

import pytest

from seg_models.image_reader import Entry
from seg_models.oversegmentations import with_oversegmentations

COMMAND = 'make_oversegmentation.py --images'


def entry(folder, mask='segcls/a.png', third=None):
  return Entry(
      str(folder / 'a.jpg'), mask and str(folder / mask), third and str(folder / third), 'a')


def put(folder, *names):
  for name in names:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).touch()


def test_the_folder_comes_before_the_column_and_the_originals_rule_last(tmp_path):
  put(tmp_path, 'own/a.png', 'column/a.png', 'hed/a.png')
  def found(third, directory):
    return with_oversegmentations([entry(tmp_path, third=third)], directory)[0].oversegmentation
  assert found('column/a.png', str(tmp_path / 'own')) == str(tmp_path / 'own/a.png')
  assert found('column/a.png', '') == str(tmp_path / 'column/a.png')
  assert found(None, '') == str(tmp_path / 'hed/a.png')


def test_an_image_alone_is_enough_with_a_folder(tmp_path):
  put(tmp_path, 'own/a.png')
  entries = with_oversegmentations([entry(tmp_path, mask=None)], str(tmp_path / 'own'))
  assert entries[0].mask is None


@pytest.mark.parametrize('mask, why', [
    (None, 'names nothing but the image'), ('sbd/clsimg/a.png', 'clsimg/a.png has no `segcls`')])
def test_nothing_to_replace_is_refused(tmp_path, mask, why):
  with pytest.raises(
      ValueError, match=f'third column.*--oversegmentation_dir.*{why}.*{COMMAND}'):
    with_oversegmentations([entry(tmp_path, mask=mask)])


def test_images_of_one_name_cannot_share_a_file(tmp_path):
  put(tmp_path, 'own/a.png')
  twin = dataclasses.replace(entry(tmp_path), image=str(tmp_path / 'other/a.jpg'))
  with pytest.raises(ValueError, match=r'/a.jpg and .*other/a.jpg would share .*own/a.png'):
    with_oversegmentations([entry(tmp_path), twin], str(tmp_path / 'own'))
  # Lists may repeat a line.
  assert len(with_oversegmentations([entry(tmp_path)] * 2, str(tmp_path / 'own'))) == 2


def test_the_label_file_itself_is_refused_whatever_it_is_called(tmp_path):
  put(tmp_path, 'segcls/a.png')
  (tmp_path / 'hed').symlink_to(tmp_path / 'segcls')
  for third in ('segcls/a.png', 'hed/a.png', 'hed/../segcls/a.png'):
    with pytest.raises(ValueError, match='the label file itself.*' + COMMAND):
      with_oversegmentations([entry(tmp_path, third=third)])


def test_entries_have_none_where_none_is_needed_and_a_folder_then_is_an_error(tmp_path):
  entries = with_oversegmentations([entry(tmp_path, third='column/a.png')], needed=False)
  assert [each.oversegmentation for each in entries] == [None]
  with pytest.raises(ValueError, match='--oversegmentation_dir own is given, but nothing makes'):
    with_oversegmentations(entries, 'own', needed=False)


def test_missing_files_are_listed(tmp_path):
  listed = '1 of 1 oversegmentations.*\n.*own/a.png\n.*'
  with pytest.raises(FileNotFoundError, match=listed + COMMAND):
    with_oversegmentations([entry(tmp_path)], str(tmp_path / 'own'))
