"""How the workers of a run meet before they compute: over plain TCP, on the chief's port.

TensorFlow's own start waits for missing workers without end, deaf to signals, and learns of workers
with other flags by computing something else. Here the chief waits for everybody, compares what they
are about to do, and sends them what only it knows; then the port is free for TensorFlow.
"""

import contextlib
import json
import select
import socket
import time

_GREETING = b'segsort rendezvous 1\n'
_MOST = 1 << 24  # bytes of a message
_PAUSE = 0.2  # seconds between attempts


def meet(cluster, about, on_chief, timeout):
  """Waits until all workers are there; called by each of them.

  Args:
    cluster: `utils.cluster.Cluster`.
    about: dict of JSON values that has to be the same on all workers.
    on_chief: function without arguments, called by the chief alone when all are there; returns what
      they all are to know, JSON values.
    timeout: seconds until those who have not come are given up.

  Returns:
    The result of `on_chief`, on every worker.

  Raises:
    TimeoutError: names the workers who are missing.
    ValueError: a worker is about to do something else; says what. On all of them.
    What `on_chief` raises, on the chief; a ValueError with its text on the others.
  """
  about = json.loads(json.dumps(about))
  if cluster.count == 1:
    return json.loads(json.dumps(on_chief()))
  deadline = time.monotonic() + timeout
  if cluster.is_chief:
    return _receive_all(cluster, about, on_chief, deadline)
  return _join(cluster, about, deadline)


def _receive_all(cluster, about, on_chief, deadline):
  here = {}
  try:
    with _listen(cluster, deadline) as listener:
      while True:
        _drop_the_gone(here)
        if len(here) == cluster.count - 1:
          break
        if time.monotonic() > deadline:
          missing = [cluster.name(index) for index in range(1, cluster.count) if index not in here]
          raise TimeoutError(f'{", ".join(missing)}: did not come in time (--worker_timeout); '
                             'start the same command on every worker, each with its own --task')
        readable, _, _ = select.select([listener], [], [], _PAUSE)
        if readable:
          _welcome(listener, cluster, here)
    reply, result = {}, None
    try:
      _compare(cluster, about, {index: hello['about'] for index, (_, hello) in here.items()})
      reply['result'] = result = json.loads(json.dumps(on_chief()))
    except BaseException as error:
      reply['error'] = str(error) or type(error).__name__
      raise
    finally:
      for connection, _ in here.values():
        with contextlib.suppress(OSError):  # who has gone since is missed by TensorFlow's start
          _send(connection, reply)
    return result
  finally:
    for connection, _ in here.values():
      connection.close()


def _listen(cluster, deadline):
  """A listening socket on the chief's port, which an earlier run may still be leaving."""
  port = int(cluster.addresses[0].rpartition(':')[2])
  while True:
    try:
      return socket.create_server(('', port), backlog=cluster.count)
    except OSError as error:
      if time.monotonic() > deadline:
        raise OSError(error.errno, f'port {port} of --workers is in use here: end the process that '
                      f'has it, or name another port ({error.strerror})') from error
      time.sleep(_PAUSE)


def _welcome(listener, cluster, here):
  connection, _ = listener.accept()
  connection.settimeout(5)
  try:
    connection.sendall(_GREETING)
    hello = _receive(connection)
    index = hello['index']
    if not (isinstance(index, int) and 0 < index < cluster.count and 'about' in hello):
      raise ValueError
  except (OSError, ValueError, KeyError, TypeError):  # not one of us
    connection.close()
    return
  if index in here:  # it was started again
    here[index][0].close()
  here[index] = connection, hello


def _drop_the_gone(here):
  """Forgets those whose connection has ended: nobody sends anything while waiting."""
  readable, _, _ = select.select([connection for connection, _ in here.values()], [], [], 0)
  for index in [index for index, (connection, _) in here.items() if connection in readable]:
    here.pop(index)[0].close()


def _compare(cluster, about, others):
  wrong = []
  for index, other in sorted(others.items()):
    wrong += [
        f'{name} is {other.get(name)!r} at {cluster.name(index)}, {about.get(name)!r} at '
        f'{cluster.name(0)}'
        for name in sorted({*about, *other}) if about.get(name) != other.get(name)]
  if wrong:
    raise ValueError(f'the workers are not about to do the same: {"; ".join(wrong)}. Give the same '
                     'flags and lists on all of them')


def _join(cluster, about, deadline):
  host, _, port = cluster.addresses[0].rpartition(':')
  problem = 'nobody listens there'
  while time.monotonic() < deadline:
    try:
      with socket.create_connection((host.strip('[]'), int(port)), timeout=5) as connection:
        if connection.recv(len(_GREETING), socket.MSG_WAITALL) != _GREETING:
          raise ConnectionError('what listens there is no chief that waits for workers')
        _send(connection, {'index': cluster.index, 'about': about})
        connection.settimeout(max(deadline - time.monotonic(), 1))
        reply = _receive(connection)
    except (OSError, ValueError) as error:
      # Not there yet, or an earlier run of the chief that has not ended yet.
      problem = str(error)
      time.sleep(_PAUSE)
      continue
    if 'error' in reply:
      raise ValueError(f'{cluster.name(0)}: {reply["error"]}')
    return reply['result']
  raise TimeoutError(f'{cluster.name(0)}: did not answer in time (--worker_timeout; {problem}); '
                     'start the same command on every worker, each with its own --task')


def _send(connection, value):
  connection.sendall(json.dumps(value).encode() + b'\n')


def _receive(connection):
  data = bytearray()
  while not data.endswith(b'\n'):
    block = connection.recv(1 << 16)
    if not block:
      raise ConnectionError('the connection has ended')
    data += block
    if len(data) > _MOST:
      raise ValueError('not a message of a worker')
  return json.loads(data)
