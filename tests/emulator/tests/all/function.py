#!/usr/bin/env python3
"""A program that speaks Lambda's Runtime API, and does what the payload says."""

import http.client
import json
import os
import sys
import time

BASE = "/2018-06-01/runtime/"


def call(method, path, body=None, headers=None):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    connection.request(method, BASE + path, body=body, headers=headers or {})
    answer = connection.getresponse()
    headers = {name.lower(): value for name, value in answer.getheaders()}
    return answer.status, headers, answer.read()


def work(payload, headers):
    do = payload.get("do")
    if do == "exit":
        sys.exit(3)
    if do == "sleep":
        time.sleep(3600)
    if do == "spin":
        total = 0
        begun = time.process_time()
        while time.process_time() - begun < 0.1:
            total += 1
    if do == "environment":
        return dict(os.environ, cwd=os.getcwd())
    if do == "headers":
        return headers
    return {"pid": os.getpid(), "got": payload}


def main():
    init = os.environ.get("INIT")
    if init == "error":
        body = json.dumps({"errorType": "Config.Missing", "errorMessage": "no config.yml"})
        call("POST", "init/error", body, {"Lambda-Runtime-Function-Error-Type": "Config.Missing"})
        sys.exit(1)
    if init == "exit":
        sys.exit(1)
    if init == "sleep":
        time.sleep(3600)
    print("started", flush=True)
    while True:
        status, headers, body = call("GET", "invocation/next")
        if status != 200:
            sys.exit(4)
        request = headers["lambda-runtime-aws-request-id"]
        payload = json.loads(body)
        print(json.dumps({"level": "INFO", "request": request}), flush=True)
        if payload.get("do") == "fail":
            error = json.dumps({"errorType": "StoreError", "errorMessage": "throttled", "stackTrace": []})
            call("POST", f"invocation/{request}/error", error, {"Lambda-Runtime-Function-Error-Type": "StoreError"})
        else:
            answer = json.dumps(work(payload, headers))
            status, _, _ = call("POST", "invocation/other/response", "{}")
            assert status == 400, status
            status, _, _ = call("POST", f"invocation/{request}/response", answer)
            assert status == 202, status
        print(json.dumps({"_aws": {}, "Succeeded": 1}), flush=True)
        if payload.get("do") == "leave":
            sys.exit(0)


main()
