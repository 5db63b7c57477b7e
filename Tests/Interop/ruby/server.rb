# Debian's copy of gRPC's own Ruby test server, made to do what it does not: compress when asked, and serve more than thirty calls at a time.

require 'grpc'

module MoreOfIt
  def initialize(**options)
    super(pool_size: 120, **options)
  end

  def handle(service)
    super(Class.new(service) { include Compressing })
  end
end
GRPC::RpcServer.prepend(MoreOfIt)

module Compressing
  def unary_call(request, call)
    compress(call) if request.response_compressed&.value
    super
  end

  def streaming_output_call(request, call)
    compress(call) if request.response_parameters.any? { |wanted| wanted.compressed&.value }
    # The view of a call that handlers get does not show the flag of the next message, which is the call's own.
    active = call.instance_variable_get(:@wrapped)
    request.response_parameters.lazy.zip(super).map do |wanted, response|
      active.write_flag = wanted.compressed&.value ? 0 : GRPC::Core::WriteFlags::NO_COMPRESS
      response
    end
  end

  private

  def compress(call)
    call.merge_metadata_to_send('grpc-internal-encoding-request' => 'gzip')
  end
end

load File.join(Gem::Specification.find_by_name('grpc').gem_dir, 'src/ruby/pb/test/server.rb')
