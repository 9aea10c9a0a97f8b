# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Run by ctest, or by hand: lit -v tests/passes -Dpinion=build/pinion -Dllvm=/usr/lib/llvm-22/bin
import os

import lit.formats

config.name = "passes"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir"]
config.test_source_root = os.path.dirname(__file__)
build = os.path.dirname(os.path.abspath(lit_config.params["pinion"]))
config.test_exec_root = os.path.join(build, "tests", "passes-output")
config.environment["PATH"] = os.pathsep.join([build, lit_config.params["llvm"], os.environ["PATH"]])
config.environment["FILECHECK_OPTS"] = "--dump-input=fail"
