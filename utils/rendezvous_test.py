import concurrent.futures
import socket
import threading
import time

import pytest

from utils import rendezvous
from utils.cluster import Cluster


def cluster_of(count):
  """Clusters for all workers, on a port that is free."""
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    port = probe.getsockname()[1]
  addresses = tuple(f'127.0.0.1:{port + index}' for index in range(count))
  return [Cluster(addresses, index) for index in range(count)]


def meet_all(abouts, on_chief=lambda: {'step': 7}, timeout=20, before=lambda cluster: None):
  """Result or exception of each worker, all of them threads here."""
  clusters = cluster_of(len(abouts))

  def one(cluster):
    before(cluster)
    try:
      return rendezvous.meet(
          cluster, abouts[cluster.index],
          on_chief if cluster.is_chief else lambda: pytest.fail('not the chief'), timeout)
    except (OSError, ValueError, ZeroDivisionError) as error:
      return error
  with concurrent.futures.ThreadPoolExecutor(len(abouts)) as pool:
    return list(pool.map(one, clusters))


def test_all_learn_what_the_chief_knows_in_whatever_order_they_come():
  order = [0.3, 0.0, 0.6]
  found = meet_all([{'seed': 1, 'size': (3, 4)}] * 3,
                   before=lambda cluster: time.sleep(order[cluster.index]))
  assert found == [{'step': 7}] * 3


def test_a_process_by_itself_meets_nobody():
  assert rendezvous.meet(Cluster(), {}, lambda: (1, 2), 0) == [1, 2]


def test_workers_about_to_do_something_else_are_named_on_all():
  found = meet_all([{'seed': 1}, {'seed': 1}, {'seed': 2, 'more': 3}],
                   on_chief=lambda: pytest.fail('too early'))
  assert [type(error) for error in found] == [ValueError] * 3
  for error in found:
    assert 'seed is 2 at worker 2 (127.0.0.1:' in str(error) and '1 at worker 0' in str(error)
    assert 'more is 3' in str(error) and 'worker 1' not in str(error)


def test_what_fails_on_the_chief_is_told_to_all():
  def fail():
    raise ZeroDivisionError('there is no checkpoint')
  chief, other = meet_all([{}, {}], fail)
  assert isinstance(chief, ZeroDivisionError)
  assert isinstance(other, ValueError) and 'there is no checkpoint' in str(other)
  assert 'worker 0' in str(other)


def test_those_who_do_not_come_are_named():
  chief, other, third = cluster_of(3)
  with pytest.raises(TimeoutError, match=r'worker 0 \(.*did not answer in time'):
    rendezvous.meet(other, {}, None, 0.5)
  with concurrent.futures.ThreadPoolExecutor(1) as pool:
    waiting = pool.submit(rendezvous.meet, other, {}, None, 2.5)
    with pytest.raises(TimeoutError, match=r'^worker 2 \([^,]*did not come in time'):
      rendezvous.meet(chief, {}, None, 1)
    assert isinstance(waiting.exception(), TimeoutError)


def test_one_who_died_while_waiting_and_strangers_do_not_count():
  chief, other, third = cluster_of(3)
  address = chief.addresses[0].split(':')
  result = []
  waiting = threading.Thread(
      target=lambda: result.append(rendezvous.meet(chief, {}, lambda: 'go', 20)))
  waiting.start()

  def connect():
    while True:
      try:
        return socket.create_connection((address[0], int(address[1])), timeout=5)
      except OSError:
        time.sleep(0.02)
  with connect() as stranger:
    stranger.sendall(b'GET / HTTP/1.1\n')
    assert stranger.recv(100).startswith(b'segsort')
    assert stranger.recv(100) == b''  # sent away
  with connect() as dead:
    dead.recv(100)
    dead.sendall(b'{"index": 1, "about": {}}\n')
  with concurrent.futures.ThreadPoolExecutor(1) as pool:
    last = pool.submit(rendezvous.meet, third, {}, None, 20)
    time.sleep(0.7)
    assert not last.done()
    assert rendezvous.meet(other, {}, None, 20) == last.result(20) == 'go'
  waiting.join(5)
  assert result == ['go']


def test_a_worker_waits_for_the_port_of_a_chief_that_is_still_leaving():
  chief, other = cluster_of(2)
  port = int(chief.addresses[0].split(':')[1])
  with socket.create_server(('', port)) as old, concurrent.futures.ThreadPoolExecutor(2) as pool:
    found = [pool.submit(rendezvous.meet, cluster, {}, lambda: 'go', 20)
             for cluster in (chief, other)]
    old.settimeout(5)
    old.accept()[0].close()
    old.close()
    assert [future.result(20) for future in found] == ['go', 'go']
  with socket.create_server(('', port)), pytest.raises(OSError, match=f'port {port} of --workers'):
    rendezvous.meet(chief, {}, None, 0.3)
