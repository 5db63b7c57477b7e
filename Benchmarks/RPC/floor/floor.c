// The least that a server over nghttp2 can do: it echoes the bytes of every request and looks at nothing.
//   floor PORT
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BODY = 1024, INPUT = 128 * 1024, OUTPUT = 256 * 1024, MARGIN = 20 * 1024 };

struct stream {
  struct stream *next;
  size_t length, sent;
  uint8_t body[BODY];
};
struct connection {
  int descriptor;
  nghttp2_session *session;
};

static struct stream *spare;
static uint8_t input[INPUT], output[OUTPUT];

#define FIELD(name, value)                                      \
  {(uint8_t *)name, (uint8_t *)value, sizeof name - 1, sizeof value - 1, \
   NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE}
static nghttp2_nv leading[] = {FIELD(":status", "200"), FIELD("content-type", "application/grpc")};
static nghttp2_nv trailing[] = {FIELD("grpc-status", "0")};

static int begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
  struct stream *stream = spare;
  if (stream) spare = stream->next; else stream = malloc(sizeof *stream);
  stream->length = stream->sent = 0;
  return nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, stream);
}

static int header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_length, const uint8_t *value,
                  size_t value_length, uint8_t flags, void *user) {
  return 0;
}

static int data_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t length, void *user) {
  struct stream *stream = nghttp2_session_get_stream_user_data(session, id);
  if (stream->length + length > BODY) return NGHTTP2_ERR_CALLBACK_FAILURE;
  memcpy(stream->body + stream->length, data, length);
  stream->length += length;
  return 0;
}

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *buffer, size_t room, uint32_t *flags,
                         nghttp2_data_source *source, void *user) {
  struct stream *stream = source->ptr;
  size_t count = stream->length - stream->sent;
  if (count > room) count = room;
  memcpy(buffer, stream->body + stream->sent, count);
  stream->sent += count;
  if (stream->sent == stream->length) {
    *flags = NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    nghttp2_submit_trailer(session, id, trailing, 1);
  }
  return (ssize_t)count;
}

static int frame_received(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
  int is_request = frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS;
  if (!is_request || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) return 0;
  nghttp2_data_provider provider = {
      .source.ptr = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id), .read_callback = read_body};
  return nghttp2_submit_response(session, frame->hd.stream_id, leading, 2, &provider);
}

static int stream_closed(nghttp2_session *session, int32_t id, uint32_t code, void *user) {
  struct stream *stream = nghttp2_session_get_stream_user_data(session, id);
  if (stream) {
    stream->next = spare;
    spare = stream;
  }
  return 0;
}

static void end(struct connection *connection) {
  close(connection->descriptor);
  nghttp2_session_del(connection->session);
  free(connection);
}

static int send_all(struct connection *connection) {
  size_t length = 0;
  const uint8_t *bytes;
  ssize_t count;
  while (length < OUTPUT - MARGIN && (count = nghttp2_session_mem_send(connection->session, &bytes)) > 0) {
    memcpy(output + length, bytes, (size_t)count);
    length += (size_t)count;
  }
  for (size_t sent = 0; sent < length;) {
    count = send(connection->descriptor, output + sent, length - sent, MSG_NOSIGNAL);
    if (count < 0 && errno != EAGAIN) return -1;
    if (count > 0) sent += (size_t)count;
  }
  return 0;
}

int main(int count, char **arguments) {
  if (count != 2) return fprintf(stderr, "usage: floor PORT\n"), 2;
  int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(arguments[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 128)) return perror("floor"), 1;
  int poll = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[64];
  epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);

  nghttp2_session_callbacks *callbacks;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, begin_headers);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, header);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, data_chunk);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, frame_received);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, stream_closed);
  nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1000}, {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20}};

  for (;;) {
    int ready = epoll_wait(poll, events, 64, -1);
    for (int i = 0; i < ready; i++) {
      struct connection *connection = events[i].data.ptr;
      if (!connection) {
        int descriptor = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        if (descriptor < 0) continue;
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        connection = malloc(sizeof *connection);
        connection->descriptor = descriptor;
        nghttp2_session_server_new(&connection->session, callbacks, connection);
        nghttp2_submit_settings(connection->session, NGHTTP2_FLAG_NONE, settings, 2);
        nghttp2_session_set_local_window_size(connection->session, NGHTTP2_FLAG_NONE, 0, 1 << 24);
        event.data.ptr = connection;
        epoll_ctl(poll, EPOLL_CTL_ADD, descriptor, &event);
      } else {
        ssize_t received = recv(connection->descriptor, input, INPUT, 0);
        if (received < 0 && errno == EAGAIN) continue;
        if (received <= 0 || nghttp2_session_mem_recv(connection->session, input, (size_t)received) < 0) {
          end(connection);
          continue;
        }
      }
      if (send_all(connection)) end(connection);
    }
  }
}
