from seg_models import speed_rows


def test_a_row_is_measured_and_judged():
  result = speed_rows.measure('knn_1k', scale=0.2, seconds=0.0)
  assert set(result) == {
      'name', 'seconds', 'plain_seconds', 'ratio', 'limit', 'cpu_ratio', 'cpu_limit', 'peak_mb',
      'target', 'met', 'notes', 'load'}
  assert result['ratio'] == result['plain_seconds'] / result['seconds'] > 0
  assert result['limit'] is None and result['cpu_limit'] is None and result['cpu_ratio'] > 0
  assert result['met'] is (result['peak_mb'] <= speed_rows.KNN_MB)


def test_targets():
  rows = speed_rows.ROWS
  assert rows['inference_head'].met({'ratio': 5.0})
  assert not rows['inference_head'].met({'ratio': 4.9})
  for ratio, met in ((20.0, True), (19.9, False)):
    assert rows['msc_votes'].met({'notes': {'votes_ratio': ratio}}) is met
  assert rows['contrast_step'].met({'cpu_ratio': 0.91})
  assert not rows['contrast_step'].met({'cpu_ratio': 0.90})
  for ratio, times, met in ((4.0, 1.5, True), (3.9, 1.0, False), (9.0, 1.6, False)):
    assert rows['clustering'].met(
        {'ratio': ratio, 'notes': {'times_of_its_products': times}}) is met
  assert not rows['train_step'].met({'notes': {'own_share': 0.01}})
  assert rows['unsupervised_loss'].met({}) is None


def test_the_bare_work_bounds_the_ratio():
  result = speed_rows.measure('unsupervised_loss', scale=0.2, seconds=0.0)
  assert result['limit'] > 0 and result['cpu_limit'] > 0
