import argparse
import dataclasses

import pytest

from utils import configuration


@dataclasses.dataclass(frozen=True)
class Example:
  rate: float = configuration.option(0.5, 'the rate, in % of something')
  size: tuple[int, int] = configuration.option((3, 4), 'height,width')
  blocks: tuple[int, ...] = configuration.option((), 'any number')
  mirror: bool = configuration.option(False, 'whether')
  name: str | None = configuration.option(None, 'a name', choices=('a', 'b'), flags=('called',))


def parse(*arguments, defaults=None):
  parser = argparse.ArgumentParser(exit_on_error=False)
  configuration.add_arguments(parser, Example, defaults=defaults)
  return configuration.from_arguments(Example, parser.parse_args(arguments), defaults)


def test_no_flags_give_the_dataclass_defaults():
  assert parse() == Example()


def test_flags_are_parsed_by_type():
  arguments = ['--rate', '2', '--size', '5,6', '--blocks=1,2,3', '--mirror', '--called', 'b']
  assert parse(*arguments) == Example(
      rate=2.0, size=(5, 6), blocks=(1, 2, 3), mirror=True, name='b')
  assert not parse('--no-mirror').mirror


def test_script_defaults_lie_between_flags_and_class():
  assert parse(defaults={'rate': 7.0}).rate == 7.0
  assert parse('--rate', '8', defaults={'rate': 7.0}).rate == 8.0
  with pytest.raises(ValueError, match='unknown_name'):
    parse(defaults={'unknown_name': 1})


@pytest.mark.parametrize('text', ['5', '5,6,7', '5,x'])
def test_wrong_tuples_are_refused_with_the_value(text):
  with pytest.raises(argparse.ArgumentError, match=text):
    parse('--size', text)


def test_dict_round_trip_and_unknown_key():
  example = Example(size=(1, 2), blocks=(7,))
  assert configuration.from_dict(Example, dataclasses.asdict(example) | {'size': [1, 2]}) == example
  with pytest.raises(ValueError, match='no field colour'):
    configuration.from_dict(Example, {'colour': 1})


def test_help_shows_the_defaults(capsys):
  parser = argparse.ArgumentParser()
  configuration.add_arguments(parser, Example)
  parser.print_help()
  assert '(default: 3,4)' in capsys.readouterr().out
