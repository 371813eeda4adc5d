import pytest

from utils import scaling
from utils.scaling import Link, Messages, Step, predict

NOTHING = Messages(0, 0, 0)
STEP = Step(4, 0.5, 0.0, Messages(1, 100e6, 0), NOTHING)


def test_one_replica_sends_nothing():
  found = predict(STEP, Link(1e9, 1.0), 1)
  assert (found.images_per_second, found.efficiency, found.communication_seconds) == (8, 1, 0)


def simulated_ring(replicas, size, bandwidth, latency):
  """Seconds by the algorithm itself: every round, each replica sends one of n chunks on."""
  chunks = [[1 << owner] * replicas for owner in range(replicas)]  # bit sets of what is summed
  seconds = 0.0
  for shift in (0, 1):  # reduce-scatter, then all-gather
    for round_ in range(replicas - 1):
      sent = [(owner, (owner + shift - round_) % replicas) for owner in range(replicas)]
      values = [chunks[owner][chunk] for owner, chunk in sent]
      for (owner, chunk), value in zip(sent, values, strict=True):
        target = chunks[(owner + 1) % replicas]
        target[chunk] = value if shift else target[chunk] | value
      seconds += size / replicas / bandwidth + latency
  assert all(value == 2 ** replicas - 1 for row in chunks for value in row)
  return seconds


@pytest.mark.parametrize('replicas', [2, 3, 8])
def test_a_ring_takes_what_its_rounds_take(replicas):
  link = Link(1e9, 1e-4)
  found = scaling.ring_seconds(replicas, Messages(1, 3e6, 0), link)
  assert found == pytest.approx(simulated_ring(replicas, 3e6, 1e9, 1e-4))
  gathered = scaling.ring_seconds(replicas, Messages(2, 0, 1e6), link)
  assert gathered == pytest.approx(2 * simulated_ring(replicas, replicas * 5e5, 1e9, 1e-4))


def test_gradients_hide_behind_the_backward_pass_and_nothing_else_does():
  assert predict(STEP, Link(1e9, 0.0), 4).communication_seconds == pytest.approx(0.15)
  assert predict(STEP, Link(1e9, 0.0, overlap=0.3), 4).communication_seconds == pytest.approx(0.05)
  assert predict(STEP, Link(1e9, 0.0, overlap=1.0), 4).efficiency == 1
  waiting = Step(4, 0.5, 0.0, NOTHING, STEP.gradients)
  assert predict(waiting, Link(1e9, 0.0, overlap=1.0), 4).communication_seconds == (
      pytest.approx(0.15))


def test_further_replicas_prototypes_cost_time():
  step = Step(4, 0.5, 0.01, NOTHING, NOTHING)
  assert predict(step, Link(1e9, 0.0), 11).step_seconds == pytest.approx(0.6)


def test_shared_cores_scale_to_nothing():
  step = Step(4, 0.5, 0.0, NOTHING, NOTHING)
  found = [predict(step, Link(1e9, 0.0, processors=1), count) for count in (1, 2, 4)]
  assert [prediction.images_per_second for prediction in found] == pytest.approx([8, 8, 8])
  assert found[2].efficiency == pytest.approx(1 / 4)


def test_messages_by_how_they_grow():
  gradients, others = scaling.messages_from((2, [16, 1000, 8, 40]), (4, [32, 1000, 8, 40]))
  assert gradients == Messages(1, 1000, 0)
  assert others == Messages(3, 48, 8)
  with pytest.raises(ValueError, match='1 messages with 2 replicas, 2 with 4'):
    scaling.messages_from((2, [1]), (4, [1, 2]))


@pytest.mark.parametrize('values', [(0, 0.0), (1e9, -1.0), (1e9, 0.0, 1.5)])
def test_impossible_links_are_refused(values):
  with pytest.raises(ValueError, match='overlap'):
    Link(*values)


def test_assumptions_name_the_numbers():
  text = '\n'.join(scaling.assumptions(STEP, Link(12.5e9, 2e-5, 0.5, 1)))
  for part in ('0.5 s', '100 MB', '50%', '12.5 GB/s', '20 us', 'share the cores'):
    assert part in text
