#!/bin/sh
# The door for people: makes the virtual environment on first use and hands on to run.py.
set -eu

self=$0
while [ -L "$self" ]; do # follow symbolic links, so that the project is found from anywhere
    link=$(readlink "$self")
    case $link in /*) self=$link ;; *) self=$(dirname "$self")/$link ;; esac
done
root=$(cd "$(dirname "$self")" && pwd)

# Production commands install less: the embedded parts and the test tools stay off the server.
case "${1:-} ${2:-}" in
test* | check* | bench* | chaos*) set_name=dev ;;
mutate*) set_name=mutate ;;
demo* | rehearse* | "up --local" | "compare replay") set_name=local ;;
*) set_name=runtime ;;
esac

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "run.sh: needs Python 3.11 or newer as '$python' (set PYTHON=/path/to/python3.11 to name another)." >&2
    exit 2
fi
venv=$root/.venv
if [ ! -x "$venv/bin/python" ] && ! "$python" -m venv "$venv"; then
    rm -rf "$venv"
    echo "run.sh: this Python cannot make virtual environments. On Debian or Ubuntu: sudo apt install python3-venv" >&2
    exit 2
fi
exec "$venv/bin/python" "$root/run.py" --needs "$set_name" "$@"
