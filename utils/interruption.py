"""Ctrl-C and SIGTERM between steps instead of inside one."""

import signal


class Interruption:
  """Context in which the first SIGINT or SIGTERM only sets `requested`; the second stops at once.

  Outside the main thread, where Python has no signal handlers, nothing is installed.
  """

  def __init__(self):
    self.requested = None

  def __enter__(self):
    self._previous = {}
    for number in (signal.SIGINT, signal.SIGTERM):
      try:
        self._previous[number] = signal.signal(number, self._handle)
      except ValueError:  # not in the main thread
        break
    return self

  def __exit__(self, *exception):
    for number, handler in self._previous.items():
      signal.signal(number, handler)

  def _handle(self, number, frame):
    if self.requested:
      raise KeyboardInterrupt
    self.requested = signal.Signals(number).name
