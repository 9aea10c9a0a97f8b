# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Links the parts of MLIR and LLVM that Pinion uses out of their static libraries: about 3 MB, and a binary that runs on
# any machine with glibc 2.36 or newer. The archives refer to each other, so they form one group; the linker takes from
# them only what is referenced.
file(GLOB mlir_archives ${MLIR_LIBRARY_DIR}/libMLIR*.a)
list(FILTER mlir_archives EXCLUDE REGEX "libMLIRCAPI|libMLIR.*(Test|ToLLVMIRTranslation|Lsp)")
set(llvm_archives "")
foreach(part Support Demangle TargetParser Core BinaryFormat Remarks BitstreamReader)
  list(APPEND llvm_archives ${MLIR_LIBRARY_DIR}/libLLVM${part}.a)
endforeach()
target_link_libraries(mlir_c INTERFACE
  -Wl,--start-group ${mlir_capi} ${mlir_archives} ${llvm_archives} -Wl,--end-group
  -Wl,--gc-sections -static-libgcc -Wl,-Bstatic -lstdc++ -lz -lzstd -Wl,-Bdynamic m dl pthread)
