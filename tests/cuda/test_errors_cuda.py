#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""run_errors, which is for a real driver, against the stand-in.

    test_errors_cuda.py RUN_ERRORS DRIVER
"""
import os
import subprocess
import sys
import tempfile

import stand_in_artifact

RUN_ERRORS, DRIVER = sys.argv[1:3]

with tempfile.TemporaryDirectory(prefix="pinion-test-") as folder:
    for kind in ("none", "address", "alignment", "trap"):
        stand_in_artifact.write_cubin(folder, f"error_{kind}.cubin", [f"error_{kind}"])
    sys.exit(subprocess.run([RUN_ERRORS, folder], env={**os.environ, "PINION_CUDA_DRIVER": DRIVER}).returncode)
