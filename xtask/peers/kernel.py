"""Images per second of a peer on one ONNX file: what `cargo xtask bench kernel` holds us against.

    kernel.py PEER --model FILE --input FILE --size H W --threads N --seconds S --features FILE

PEER is one of the names in PEERS. The input is raw f32, N x height x width x RGB; the peers are given what they read,
channels first, made before the clock runs. Each is set as its own documentation sets it for speed, f32 throughout:
`streams` are independent inferences of one image, one core each; `latency` is one image at a time over all cores.
Prints the rate, and writes the features of the first image as raw f32.
"""

import argparse
import threading
import time

import numpy as np


def onnxruntime_session(model, threads):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda image: session.run(None, {name: image})[0]


def onnxruntime_latency(model, threads):
    return [onnxruntime_session(model, threads)]


def onnxruntime_streams(model, threads):
    return [onnxruntime_session(model, 1) for _ in range(threads)]


def openvino(model, threads, streams):
    import openvino as ov

    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": streams}
    core = ov.Core()
    read = core.read_model(model)
    shape = read.inputs[0].partial_shape
    # One image at a time: a batch left open costs it speed.
    read.reshape([1, *[dimension.get_length() for dimension in list(shape)[1:]]])
    compiled = core.compile_model(read, "CPU", settings)

    def stream():
        request = compiled.create_infer_request()
        return lambda image: request.infer({0: image}, share_inputs=True)[0]

    return [stream() for _ in range(streams)]


def openvino_latency(model, threads):
    return openvino(model, threads, 1)


def openvino_streams(model, threads):
    return openvino(model, threads, threads)


PEERS = {
    "onnxruntime-latency": onnxruntime_latency,
    "onnxruntime-streams": onnxruntime_streams,
    "openvino-latency": openvino_latency,
    "openvino-streams": openvino_streams,
}


def rate(streams, images, seconds):
    """Images per second of all streams together, each on a thread of its own, after a warm-up."""
    for infer in streams:
        for image in images:
            infer(image)
    barrier = threading.Barrier(len(streams))
    rates = [0.0] * len(streams)

    def work(index):
        infer, done = streams[index], 0
        barrier.wait()
        began = time.perf_counter()
        while (spent := time.perf_counter() - began) < seconds:
            infer(images[done % len(images)])
            done += 1
        rates[index] = done / spent

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(streams))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(rates)


def main():
    args = argparse.ArgumentParser()
    args.add_argument("peer", choices=PEERS)
    args.add_argument("--model", required=True)
    args.add_argument("--input", required=True)
    args.add_argument("--size", type=int, nargs=2, required=True)
    args.add_argument("--threads", type=int, required=True)
    args.add_argument("--seconds", type=float, required=True)
    args.add_argument("--features", required=True)
    args = args.parse_args()

    images = np.fromfile(args.input, dtype="<f4").reshape(-1, *args.size, 3)
    images = [np.ascontiguousarray(image.transpose(2, 0, 1)[None]) for image in images]
    streams = PEERS[args.peer](args.model, args.threads)
    np.asarray(streams[0](images[0]), dtype="<f4").tofile(args.features)
    print(rate(streams, images, args.seconds))


main()
