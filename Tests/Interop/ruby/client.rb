# Debian's copy of gRPC's own Ruby test client, with the cases that it lacks.

require File.join(Gem::Specification.find_by_name('grpc').gem_dir, 'src/ruby/pb/test/client.rb')

class NamedTests
  def server_compressed_unary
    [true, false].each { |value| check_large(@stub.unary_call(large(response_compressed: BoolValue.new(value: value)))) }
  end

  def server_compressed_streaming
    wanted = { 31_415 => true, 92_653 => false }
    parameters = wanted.map { |size, value| ResponseParameters.new(size: size, compressed: BoolValue.new(value: value)) }
    responses = @stub.streaming_output_call(StreamingOutputCallRequest.new(response_parameters: parameters))
    sizes = responses.map { |each| each.payload.body.length }
    assert("sizes are #{sizes}") { sizes == wanted.keys }
  end

  def special_status_message
    message = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
    @stub.unary_call(SimpleRequest.new(response_status: EchoStatus.new(code: 2, message: message)))
    fail AssertionError, 'the call ended with OK'
  rescue GRPC::Unknown => e
    details = e.details.dup.force_encoding('UTF-8')
    assert("the message is #{details.inspect}") { details == message }
  end

  def concurrent_large_unary
    threads = Array.new(Integer(ENV.fetch('CONCURRENT_CALLS', '1000'))) do
      Thread.new { check_large(@stub.unary_call(large)) }
    end
    threads.each(&:join)
  end

  def rpc_soak
    10.times { check_large(@stub.unary_call(large)) }
  end

  def channel_soak
    10.times { check_large(create_stub(@args).unary_call(large)) }
  end

  private

  def large(**fields)
    SimpleRequest.new(response_size: 314_159, payload: Payload.new(body: nulls(271_828)), **fields)
  end

  def check_large(response)
    assert('the payload is wrong') { response.payload.body == nulls(314_159) }
  end
end

main
