# SPDX-License-Identifier: Apache-2.0
"""A thin ctypes view of attnc's C API, for benchmarks: torch tensors in, torch tensors out.

    att = Attention(score_mod="cap * tanh(score / cap)", mask_mod="q_idx >= kv_idx", params={"cap": 30.0},
                    dtype=torch.bfloat16, head_dim=64)
    out = att(q, k, v)                       # CUDA tensors [B, H, S, D]

Looks for libattnc.so in $ATTNC_LIBRARY, then build/*/runtime/.
"""
import ctypes as C
import functools
import glob
import os

import torch

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_DTYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2, torch.int64: 3, torch.int32: 4, torch.int8: 5,
           torch.uint8: 6, torch.bool: 7}


class _Device(C.Structure):
    _fields_ = [("kind", C.c_int32), ("index", C.c_int32)]


class _Tensor(C.Structure):
    _fields_ = [("data", C.c_void_p), ("dtype", C.c_int32), ("rank", C.c_int32), ("shape", C.c_int64 * 5),
                ("stride_elems", C.c_int64 * 5)]


class _ParamDecl(C.Structure):
    _fields_ = [("name", C.c_char_p), ("type", C.c_int32), ("has_default", C.c_int32), ("default_real", C.c_double),
                ("default_integer", C.c_int64)]


class _BufferDecl(C.Structure):
    _fields_ = [("name", C.c_char_p), ("dtype", C.c_int32), ("rank", C.c_int32)]


class _ParamValue(C.Structure):
    _fields_ = [("name", C.c_char_p), ("is_integer", C.c_int32), ("reserved", C.c_int32), ("real", C.c_double),
                ("integer", C.c_int64)]


class _BufferValue(C.Structure):
    _fields_ = [("name", C.c_char_p), ("tensor", _Tensor)]


class _AttentionOptions(C.Structure):
    _fields_ = [("struct_size", C.c_size_t), ("score_mod", C.c_char_p), ("mask_mod", C.c_char_p),
                ("params", C.POINTER(_ParamDecl)), ("num_params", C.c_size_t), ("buffers", C.POINTER(_BufferDecl)),
                ("num_buffers", C.c_size_t), ("dtype", C.c_int32), ("head_dim", C.c_int32), ("head_dim_v", C.c_int32),
                ("precise", C.c_int32), ("device", _Device), ("cache_dir", C.c_char_p), ("log", C.c_void_p),
                ("log_user_data", C.c_void_p)]


class _ForwardOptions(C.Structure):
    _fields_ = [("struct_size", C.c_size_t), ("lse", C.POINTER(_Tensor)), ("scale", C.POINTER(C.c_float)),
                ("params", C.POINTER(_ParamValue)), ("num_params", C.c_size_t), ("buffers", C.POINTER(_BufferValue)),
                ("num_buffers", C.c_size_t), ("block_mask", C.c_void_p), ("stream", C.c_void_p)]


class _BlockMaskOptions(C.Structure):
    _fields_ = [("struct_size", C.c_size_t), ("mask_mod", C.c_char_p), ("params", C.POINTER(_ParamDecl)),
                ("num_params", C.c_size_t), ("buffers", C.POINTER(_BufferDecl)), ("num_buffers", C.c_size_t),
                ("param_values", C.POINTER(_ParamValue)), ("num_param_values", C.c_size_t),
                ("buffer_values", C.POINTER(_BufferValue)), ("num_buffer_values", C.c_size_t), ("batch", C.c_int32),
                ("heads", C.c_int32), ("q_len", C.c_int32), ("kv_len", C.c_int32), ("block_q", C.c_int32),
                ("block_kv", C.c_int32), ("device", _Device), ("stream", C.c_void_p), ("only_partial_blocks", C.c_int32),
                ("reserved", C.c_int32)]


class _RebuildOptions(C.Structure):
    _fields_ = [("struct_size", C.c_size_t), ("param_values", C.POINTER(_ParamValue)), ("num_param_values", C.c_size_t),
                ("buffer_values", C.POINTER(_BufferValue)), ("num_buffer_values", C.c_size_t), ("stream", C.c_void_p)]


def _load():
    paths = [os.environ["ATTNC_LIBRARY"]] if "ATTNC_LIBRARY" in os.environ else sorted(
        glob.glob(os.path.join(_ROOT, "build*", "*", "runtime", "libattnc.so")), key=os.path.getmtime, reverse=True)
    if not paths:
        raise SystemExit("no libattnc.so: build with -DBUILD_SHARED_LIBS=ON, or set ATTNC_LIBRARY")
    library = C.CDLL(paths[0])
    library.attnc_error_message.restype = C.c_char_p
    library.attnc_version.restype = C.c_char_p
    for name in ("attnc_error_message", "attnc_error_free", "attnc_attention_free", "attnc_block_mask_free",
                 "attnc_string_free"):
        getattr(library, name).argtypes = [C.c_void_p]
    return library


lib = _load()


def _check(status, error):
    if status != 0:
        message = lib.attnc_error_message(error).decode()
        lib.attnc_error_free(error)
        raise RuntimeError(message)


def _tensor(t):
    view = _Tensor(t.data_ptr(), _DTYPES[t.dtype], t.dim())
    for i in range(t.dim()):
        view.shape[i], view.stride_elems[i] = t.shape[i], t.stride(i)
    return view


def _backwards(t, axis):
    """The view of t whose index along `axis` counts from the last to the first."""
    view = _tensor(t)
    view.data += (t.shape[axis] - 1) * t.stride(axis) * t.element_size()
    view.stride_elems[axis] = -view.stride_elems[axis]
    return view


def _captures(params, buffers):
    params, buffers = params or {}, buffers or {}
    kinds = {bool: 0, int: 1, float: 3}
    decls = (_ParamDecl * len(params))(*[_ParamDecl(n.encode(), kinds[type(v)], 1, float(v), int(v)) for n, v in params.items()])
    buffer_decls = (_BufferDecl * len(buffers))(*[_BufferDecl(n.encode(), _DTYPES[t.dtype], t.dim()) for n, t in buffers.items()])
    values = (_BufferValue * len(buffers))(*[_BufferValue(n.encode(), _tensor(t)) for n, t in buffers.items()])
    return decls, buffer_decls, values


class BlockMask:
    """Tables for a mask on the GPU, built there."""

    def __init__(self, mask_mod, q_len, kv_len, params=None, buffers=None, block=(128, 128), batch=1, heads=1):
        decls, buffer_decls, values = _captures(params, buffers)
        options = _BlockMaskOptions(C.sizeof(_BlockMaskOptions), mask_mod.encode(), decls, len(decls), buffer_decls,
                                    len(buffer_decls), None, 0, values, len(values), batch, heads, q_len, kv_len, block[0],
                                    block[1], _Device(1, torch.cuda.current_device()),
                                    torch.cuda.current_stream().cuda_stream, 0, 0)
        self.handle, error, self._keep = C.c_void_p(), C.c_void_p(), buffers
        _check(lib.attnc_block_mask_create(C.byref(options), C.byref(self.handle), C.byref(error)), error)

    def rebuild(self, buffers=None):
        """The same mask for other contents of its buffers; neither compiles, allocates nor waits."""
        _, _, values = _captures(None, buffers)
        options = _RebuildOptions(C.sizeof(_RebuildOptions), None, 0, values, len(values),
                                  torch.cuda.current_stream().cuda_stream)
        error = C.c_void_p()
        self._keep = buffers
        _check(lib.attnc_block_mask_rebuild(self.handle, C.byref(options), C.byref(error)), error)

    def __del__(self):
        lib.attnc_block_mask_free(self.handle)


class Attention:
    def __init__(self, score_mod=None, mask_mod=None, params=None, buffers=None, dtype=torch.bfloat16, head_dim=64,
                 head_dim_v=0, precise=False, cache_dir=None):
        torch.cuda.init()
        torch.cuda.current_stream()
        decls, buffer_decls, self._values = _captures(params, buffers)
        self._keep = buffers
        options = _AttentionOptions(C.sizeof(_AttentionOptions), score_mod and score_mod.encode(), mask_mod and mask_mod.encode(),
                                    decls, len(decls), buffer_decls, len(buffer_decls), _DTYPES[dtype], head_dim, head_dim_v,
                                    int(precise), _Device(1, torch.cuda.current_device()), cache_dir and cache_dir.encode(),
                                    None, None)
        self.handle, error = C.c_void_p(), C.c_void_p()
        _check(lib.attnc_attention_create(C.byref(options), C.byref(self.handle), C.byref(error)), error)

    def __del__(self):
        lib.attnc_attention_free(self.handle)

    def prepare(self):
        error = C.c_void_p()
        _check(lib.attnc_attention_prepare(self.handle, C.byref(error)), error)

    def __call__(self, q, k, v, out=None, lse=None, block_mask=None, portable=False):
        """portable: walk batches (heads, where there is one batch) from last to first. The result is the same unless a mod
        reads that index; the bulk tensor copy engine takes no negative stride, so the portable kernel runs."""
        axis = 0 if q.shape[0] > 1 else 1
        view = functools.partial(_backwards, axis=axis) if portable else _tensor
        if out is None:
            out = torch.empty(*q.shape[:3], v.shape[3], device=q.device, dtype=q.dtype)
        options = _ForwardOptions(C.sizeof(_ForwardOptions))
        if lse is not None:
            lse_view = view(lse)
            options.lse = C.pointer(lse_view)
        options.buffers, options.num_buffers = self._values, len(self._values)
        options.block_mask = block_mask.handle if block_mask else None
        options.stream = torch.cuda.current_stream().cuda_stream
        error = C.c_void_p()
        status = lib.attnc_attention_forward(self.handle, C.byref(view(q)), C.byref(view(k)), C.byref(view(v)),
                                             C.byref(view(out)), C.byref(options), C.byref(error))
        _check(status, error)
        return out
