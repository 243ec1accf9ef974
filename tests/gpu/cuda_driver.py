"""As much of CUDA as the tests need, through the driver's own library: no toolkit, and no package.

Names and numbers as in the CUDA Driver API's cuda.h.
"""

import ctypes
from typing import Any

MULTIPROCESSORS = 16  # CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT
OUT_OF_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY
THREADS = 256

# Each thread multiplies and adds: its time is that of the multiprocessors alone, not of the memory.
_SPIN_PTX = b"""
.version 6.0
.target sm_70
.address_size 64
.visible .entry spin(.param .u64 out, .param .u32 rounds)
{
  .reg .pred %p<2>;
  .reg .f32 %f<6>;
  .reg .b32 %r<5>;
  .reg .b64 %rd<5>;
  ld.param.u64 %rd1, [out];
  ld.param.u32 %r1, [rounds];
  mov.u32 %r2, %tid.x;
  cvt.rn.f32.u32 %f1, %r2;
  mov.f32 %f2, 0f3F7FFFFE;
  mov.f32 %f3, %f1;
  mov.f32 %f4, %f1;
  mov.f32 %f5, %f1;
  mov.u32 %r3, 0;
AGAIN:
  fma.rn.f32 %f1, %f1, %f2, %f2;
  fma.rn.f32 %f3, %f3, %f2, %f2;
  fma.rn.f32 %f4, %f4, %f2, %f2;
  fma.rn.f32 %f5, %f5, %f2, %f2;
  fma.rn.f32 %f1, %f1, %f2, %f2;
  fma.rn.f32 %f3, %f3, %f2, %f2;
  fma.rn.f32 %f4, %f4, %f2, %f2;
  fma.rn.f32 %f5, %f5, %f2, %f2;
  add.u32 %r3, %r3, 1;
  setp.lt.u32 %p1, %r3, %r1;
  @%p1 bra AGAIN;
  add.f32 %f1, %f1, %f3;
  add.f32 %f4, %f4, %f5;
  add.f32 %f1, %f1, %f4;
  cvta.to.global.u64 %rd2, %rd1;
  mul.wide.u32 %rd3, %r2, 4;
  add.u64 %rd4, %rd2, %rd3;
  st.global.f32 [%rd4], %f1;
  ret;
}
\x00"""


class CudaError(Exception):
    def __init__(self, call: str, code: int) -> None:
        super().__init__(f"{call} returned {code}")
        self.code = code


def is_there() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


class Gpu:
    """The first device that this process sees, with a context. Raises CudaError."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libcuda.so.1")
        self._call("cuInit", 0)
        self._device = ctypes.c_int()
        self._call("cuDeviceGet", ctypes.byref(self._device), 0)
        self._context = ctypes.c_void_p()
        self._call("cuCtxCreate_v2", ctypes.byref(self._context), 0, self._device)

    def count_multiprocessors(self) -> int:
        """As CUDA tells this process: under MPS its share."""
        count = ctypes.c_int()
        self._call("cuDeviceGetAttribute", ctypes.byref(count), MULTIPROCESSORS, self._device)
        return count.value

    def allocate(self, size_bytes: int) -> int:
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size_bytes))
        return address.value

    def load_spin(self) -> "Spin":
        module, function = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuModuleLoadData", ctypes.byref(module), ctypes.c_char_p(_SPIN_PTX))
        self._call("cuModuleGetFunction", ctypes.byref(function), module, ctypes.c_char_p(b"spin"))
        return Spin(self, function, self.allocate(4 * THREADS))

    def launch(self, function: ctypes.c_void_p, blocks: int, arguments: "list[Any]") -> None:
        """Returns when it has run."""
        pointers = (ctypes.c_void_p * len(arguments))(*(ctypes.addressof(argument) for argument in arguments))
        self._call("cuLaunchKernel", function, blocks, 1, 1, THREADS, 1, 1, 0, None, pointers, None)
        self._call("cuCtxSynchronize")

    def _call(self, name: str, *arguments: Any) -> None:
        if code := getattr(self._library, name)(*arguments):
            raise CudaError(name, code)


class Spin:
    """Work for multiprocessors alone."""

    def __init__(self, gpu: Gpu, function: ctypes.c_void_p, out: int) -> None:
        self._gpu, self._function, self._out = gpu, function, out

    def at(self, address: int) -> "Spin":
        """The same, which writes its results there."""
        return Spin(self._gpu, self._function, address)

    def run(self, blocks: int, rounds: int) -> None:
        self._gpu.launch(self._function, blocks, [ctypes.c_uint64(self._out), ctypes.c_uint32(rounds)])
