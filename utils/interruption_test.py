import os
import signal

import pytest

from utils.interruption import Interruption


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_first_signal_is_noted_and_the_second_stops(number):
  with Interruption() as interruption:
    assert interruption.requested is None
    os.kill(os.getpid(), number)
    assert interruption.requested == number.name
    with pytest.raises(KeyboardInterrupt):
      os.kill(os.getpid(), number)
      signal.sigtimedwait([], 0)  # lets the pending handler run


def test_handlers_are_put_back():
  before = signal.getsignal(signal.SIGINT)
  with Interruption():
    assert signal.getsignal(signal.SIGINT) != before
  assert signal.getsignal(signal.SIGINT) == before
