#!/bin/sh
# kubectl runs this file, from any folder of PATH, to complete `kubectl audit ...`.
exec kubectl-NAME __complete "$@" 2>/dev/null
