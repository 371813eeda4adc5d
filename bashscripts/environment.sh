#!/usr/bin/env bash
# Sourced by the other scripts: makes .venv once, installs into it what a requirements file names, and sets $PYTHON.
#   source bashscripts/environment.sh [requirements.txt]
# PYTHON_BASE picks the interpreter (3.10 to 3.13); SEGSORT_VENV the place of the environment.

_requirements="${1:-requirements.txt}"
_venv="${SEGSORT_VENV:-.venv}"

_usable() { "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; }

_has_pip() { "$_venv/bin/python" -m pip --version >/dev/null 2>&1; }

# An interrupted call may have left an environment without pip, other tools (uv) make none with it.
_clear=()
if [ -f "$_venv/pyvenv.cfg" ]; then
  _has_pip || "$_venv/bin/python" -m ensurepip >/dev/null 2>&1 || true
  _clear=(--clear)  # of nothing but an environment
fi
if ! _has_pip; then
  _base=""
  for _candidate in ${PYTHON_BASE:-python3 python3.13 python3.12 python3.11 python3.10 python}; do
    if _usable "$_candidate"; then _base="$_candidate"; break; fi
  done
  if [ -z "$_base" ]; then
    echo "No Python 3.10 to 3.13 with venv was found (tried: ${PYTHON_BASE:-python3 python3.13 ... python}):" \
      "install one (Debian/Ubuntu: apt install python3-venv) or set PYTHON_BASE=/path/to/python." >&2
    exit 1
  fi
  echo "Making $_venv with $("$_base" --version) ..."
  "$_base" -m venv ${_clear[@]+"${_clear[@]}"} "$_venv"
fi
PYTHON="$(cd "$_venv/bin" && pwd)/python"

# A stamp per requirements file: a second call does not ask the package index again.
_stamp="$_venv/.installed-$(basename "$_requirements")-$(cat requirements*.txt | cksum | cut -d' ' -f1)"
if [ ! -f "$_stamp" ]; then
  echo "Installing $_requirements into $_venv ..."
  "$PYTHON" -m pip install --quiet --disable-pip-version-check -r "$_requirements"
  if ! "$PYTHON" -c 'import cv2' 2>/dev/null; then
    echo "opencv-python cannot be imported here (no libGL?): installing opencv-python-headless in its place."
    "$PYTHON" -m pip uninstall --quiet --yes opencv-python
    "$PYTHON" -m pip install --quiet --disable-pip-version-check 'opencv-python-headless>=4.10,<6'
    "$PYTHON" -c 'import cv2'
  fi
  touch "$_stamp"
fi
export TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-2}"
