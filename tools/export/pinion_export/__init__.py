# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Exporting Pi0 and Pi0.5 policies to ONNX, with PyTorch's own results beside the graph."""
