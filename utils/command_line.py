"""How the scripts end: with a message for what a user can mend, with a status for the shell."""

import os
import sys


def run(main):
  """Calls `main()` and exits with the status that it returns.

  What is wrong with flags, files, data or packages (ValueError, OSError, ImportError and their kin,
  raised with a message for the user) is printed to standard error in one piece and ends in status
  2, or the `status` of the error; set SEGSORT_TRACEBACK=1 to see where it arose. Anything else is a
  defect and keeps its traceback.
  """
  try:
    sys.exit(main())
  except KeyboardInterrupt:
    print('\nInterrupted: what is written is kept; the same command goes on.', file=sys.stderr)
    sys.exit(130)
  except (ValueError, OSError, ArithmeticError, ImportError) as error:
    if os.environ.get('SEGSORT_TRACEBACK'):
      raise
    print(f'{os.path.basename(sys.argv[0])}: error: {error}\n'
          '(SEGSORT_TRACEBACK=1 shows where it arose)', file=sys.stderr)
    status = getattr(error, 'status', None)
    if status is None:
      sys.exit(2)
    # Of a worker whose fellows are gone: TensorFlow's farewell would wait for them.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
