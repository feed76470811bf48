#!/bin/sh
# Usage: sh .ci/venv.sh EXTRAS STAMP
#
# Makes .venv with Python 3.11 or newer, installs WhyRank there as an editable package with EXTRAS, and touches STAMP.
# Needs Python and a package index. PYTHON=/path/to/python chooses the interpreter.
set -eu

extras=$1
stamp=$2
venv=$(dirname "$stamp")
here=$venv/bin/python

fits() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    for name in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python}; do
        if fits "$name"; then
            echo "$name"
            return
        fi
    done
    asked=${PYTHON:-python3}
    version=$("$asked" --version 2>&1 | head -n 1) || version="nothing that runs"
    echo "error: WhyRank needs Python 3.11 or newer; $asked is $version." >&2
    echo "Install one, or name it: make PYTHON=/path/to/python3.11 ..." >&2
    return 1
}

if ! { fits "$here" && "$here" -m pip --version; } >/dev/null 2>&1; then
    python=$(find_python)
    echo "Making $venv with $("$python" --version) ..." >&2
    if ! "$python" -m venv --clear "$venv" >&2; then
        echo "error: $python can't make a virtual environment; Debian and Ubuntu keep that in the package python3-venv." >&2
        exit 1
    fi
fi

echo "Installing WhyRank with [$extras] into $venv: a few minutes the first time ..." >&2
"$here" -m pip install --quiet --disable-pip-version-check --editable ".[$extras]" >&2
rm -f "$venv"/.whyrank-*
touch "$stamp"
