"""Programs of XLA as StableHLO text: what TensorFlow compiles, for machines without TensorFlow.

The text is the same for every platform; the XLA of the machine that runs it optimises it there.
"""

import re

import numpy as np
from tensorflow.compiler.tf2xla.ops import gen_xla_ops

DTYPES = {
    'f64': 'float64', 'f32': 'float32', 'f16': 'float16', 'bf16': 'bfloat16', 'i1': 'bool',
    'i8': 'int8', 'i16': 'int16', 'i32': 'int32', 'i64': 'int64', 'ui8': 'uint8',
    'ui16': 'uint16', 'ui32': 'uint32', 'ui64': 'uint64'}
_LOCATION = re.compile(
    r' loc\((?:[^()"]|"(?:[^"\\]|\\.)*"|\((?:[^()"]|"(?:[^"\\]|\\.)*")*\))*\)')
# The dialect `mhlo` is of the interface between TensorFlow and XLA, and not everybody's.
_COPY = re.compile(r'mhlo\.copy (%\w+) : (tensor<[^>]*>)')
_FOR_AUTOGRAD = re.compile(r' \{mhlo\.frontend_attributes = \{[^}]*\}\}')
_MODULE = re.compile(r'^(module @\S+) attributes \{(.*)\} \{$', re.MULTILINE)
_ALIAS = re.compile(r'parameter_number = (\d+) : i64}, output_index = array<i64(?:: (\d+))?>')
# The version of the calling convention of jax.export, whose newest one TensorFlow may not know.
_CALLING_CONVENTION = 9


def lower(function, *arguments):
  """A call of a function as StableHLO text.

  Args:
    function: `tf.function` with `jit_compile=True`. The program's arguments are those of the call,
      flattened, then what the function captures, in the order of its `captured_inputs`; its results
      are those of the function, then the captured variables that it changes.
    *arguments: of the call.

  Returns:
    text: a module without source locations, of StableHLO alone, that leaves its arguments as they
      are. It asks for products of full float32 where TensorFlow does (`utils.float32`).
    updates: which results are new values of captured variables: place of the result -> place of
      the argument.

  Raises:
    ValueError: shapes within the program depend on data.
  """
  text = function.experimental_get_compiler_ir(*arguments)(stage='stablehlo', platform_name='CPU')
  lines = [line for line in text.splitlines() if not line.startswith('#loc')]
  text = _LOCATION.sub('', '\n'.join(lines) + '\n')
  text = _COPY.sub(r'stablehlo.reshape \1 : (\2) -> \2', _FOR_AUTOGRAD.sub('', text))
  # Results may take the place of the variables' old values; that says which belongs to which.
  updates = {int(result or 0): int(argument)
             for argument, result in _ALIAS.findall(_MODULE.search(text).group(2))}
  text = _MODULE.sub(r'\1 {', text)
  dynamic = re.search(r'.*tensor<\?.*', text)
  if dynamic:
    raise ValueError(f'a shape in the program depends on data: {dynamic.group().strip()[:200]}')
  return text, updates


def signature(text):
  """Arguments and results of a module's @main: two lists of (shape, name of the dtype)."""
  head = re.search(r'@main\(.*', text).group()
  arguments, _, results = head.partition(') -> ')

  def types(part):
    found = []
    for spec in re.findall(r'tensor<([^>]*)>', part):
      *shape, dtype = spec.split('x')
      found.append((tuple(int(size) for size in shape), DTYPES[dtype]))
    return found

  return types(arguments), types(results)


def load(text):
  """The module as a function: tensors -> list of tensors, compiled by this machine's XLA."""
  _, results = signature(text)

  def run(*arguments):
    return gen_xla_ops.xla_call_module(
        args=list(arguments), version=_CALLING_CONVENTION, module=text, platforms=['CPU'],
        Sout=[shape for shape, _ in results], Tout=[np.dtype(dtype) for _, dtype in results])
  return run
