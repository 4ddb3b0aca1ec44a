"""A stub of TensorFlow Serving: its REST and gRPC forms over a v1 session, on loopback.

It shows that clients fill in and read the official messages rightly, and that the graph
answers in a session. It shows nothing of TF Serving itself.
"""

import base64
import contextlib
import http.server
import json
import re
import threading
from concurrent import futures

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

CODES = {code.value[0]: code for code in grpc.StatusCode}
STATUS = {grpc.StatusCode.INVALID_ARGUMENT: 400, grpc.StatusCode.NOT_FOUND: 404}


class Failure(Exception):
    """An error with its gRPC code."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def answer(served, signature, inputs):
    """What a signature gives, or a `Failure` with the code of TensorFlow's error."""
    signature = signature or "serving_default"
    if signature not in served.signatures:
        raise Failure(grpc.StatusCode.INVALID_ARGUMENT, f"no signature {signature}")
    try:
        return served(signature, **inputs)
    except tf.errors.OpError as error:
        raise Failure(CODES[error.error_code], error.message) from error
    except (TypeError, ValueError) as error:  # A wrong dtype, shape or name.
        raise Failure(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from error


class Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, name, served):
        self.name, self.served = name, served

    def Predict(self, request, context):
        spec = request.model_spec
        if spec.name != self.name:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no model {spec.name}")
        inputs = {k: tf.make_ndarray(v) for k, v in request.inputs.items()}
        try:
            outputs = answer(self.served, spec.signature_name, inputs)
        except Failure as failure:
            context.abort(failure.code, str(failure))
        response = predict_pb2.PredictResponse()
        for key, value in outputs.items():
            response.outputs[key].CopyFrom(tf.make_tensor_proto(value))
        return response


def plain(value):
    """Arrays as JSON has them."""
    return np.vectorize(bytes.decode)(value) if value.dtype == object else value


def predict(served, body):
    """Answers the body of a ``:predict`` request, in rows or in columns."""

    def decoded(value):
        if isinstance(value, dict) and set(value) == {"b64"}:
            return base64.b64decode(value["b64"], validate=True)
        return [decoded(item) for item in value] if isinstance(value, list) else value

    def named(values):
        return values if isinstance(values, dict) and set(values) != {"b64"} else None

    signature = body.get("signature_name", "serving_default")
    only = next(iter(served.signatures[signature].inputs))
    if "instances" in body:
        rows = [named(row) or {only: row} for row in body["instances"]]
        columns = {key: [decoded(row[key]) for row in rows] for key in rows[0]}
    else:
        columns = named(body["inputs"]) or {only: body["inputs"]}
        columns = {key: decoded(value) for key, value in columns.items()}
    outputs = {
        key: plain(value).tolist()
        for key, value in answer(served, signature, columns).items()
    }
    if "inputs" in body:
        single = len(outputs) == 1
        return {"outputs": next(iter(outputs.values())) if single else outputs}
    if len(outputs) == 1:
        return {"predictions": next(iter(outputs.values()))}
    rows = zip(*outputs.values(), strict=True)
    return {"predictions": [dict(zip(outputs, row, strict=True)) for row in rows]}


def rest_handler(name, served):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path != f"/v1/models/{name}":
                return self.reply(404, {"error": "not found"})
            status = {"error_code": "OK", "error_message": ""}
            version = {"version": "1", "state": "AVAILABLE", "status": status}
            self.reply(200, {"model_version_status": [version]})

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if not re.fullmatch(rf"/v1/models/{name}(/versions/1)?:predict", self.path):
                return self.reply(404, {"error": "not found"})
            try:
                self.reply(200, predict(served, json.loads(body)))
            except Failure as failure:
                self.reply(STATUS.get(failure.code, 500), {"error": str(failure)})
            except (KeyError, ValueError, TypeError) as error:
                self.reply(400, {"error": str(error)})

        def reply(self, status, body):
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *args):
            pass

    return Handler


@contextlib.contextmanager
def running(name, served):
    """Yields the ports of REST and gRPC on which a model is served meanwhile."""
    rest = http.server.ThreadingHTTPServer(("127.0.0.1", 0), rest_handler(name, served))
    threading.Thread(target=rest.serve_forever, daemon=True).start()
    rpc = grpc.server(futures.ThreadPoolExecutor(2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        Prediction(name, served), rpc
    )
    port = rpc.add_insecure_port("127.0.0.1:0")
    rpc.start()
    try:
        yield rest.server_port, port
    finally:
        rpc.stop(None)
        rest.shutdown()
        rest.server_close()
