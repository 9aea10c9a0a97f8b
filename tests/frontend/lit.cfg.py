# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Run by ctest, or by hand: lit -v tests/frontend -Dpinion=build/pinion -Dllvm=/usr/lib/llvm-22/bin -Dpython=python3
import os
import subprocess

import lit.formats

config.name = "frontend"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".test"]
config.test_source_root = os.path.dirname(__file__)
build = os.path.dirname(os.path.abspath(lit_config.params["pinion"]))
config.test_exec_root = os.path.join(build, "tests", "frontend-output")
config.environment["PATH"] = os.pathsep.join([build, lit_config.params["llvm"], os.environ["PATH"]])
config.environment["FILECHECK_OPTS"] = "--dump-input=fail"

# One interpreter makes all the models: starting one for each would take longer than the tests.
models = os.path.join(config.test_exec_root, "models")
subprocess.run([lit_config.params["python"], os.path.join(config.test_source_root, "make_models.py"), models], check=True)
config.substitutions.append(("%models", models))
# `%import MODEL FLAGS..` prints the diagnostics (and nothing of the module) and the exit status.
config.substitutions.append(("%import", "sh " + os.path.join(config.test_source_root, "diagnose.sh")))
