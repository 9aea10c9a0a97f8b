#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Imports a model; prints its diagnostics and the exit status, and leaves the module out.
pinion import "$@" 2>&1 >/dev/null
echo "exit status $?"
