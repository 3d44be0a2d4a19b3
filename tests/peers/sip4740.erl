%% A client of RFC 4740 on Erlang/OTP's Diameter, with the dictionary of Debian's erlang-examples. Its codec is strict:
%% an AVP that is missing, surplus, unknown with the M flag or of a wrong type is a decode error, which it prints.
%%
%%     erl -noshell -s sip4740 main PORT REALM USER PASSWORD
%%
%% It sends MAR without credentials, with wrong ones, with right ones, with the same ones in another session, and for a
%% realm that nobody serves; it prints the Result-Code of each answer.
-module(sip4740).
-include_lib("diameter/include/diameter.hrl").
-export([main/1, peer_up/3, peer_down/3, pick_peer/4, prepare_request/3, prepare_retransmit/3, handle_answer/4,
         handle_error/4, handle_request/3]).

-define(HOST, "erl.example.net").
-define(REALM, "example.net").

main([Port, Realm0, User0, Password0]) ->
    [Realm, User, Password] = [atom_to_binary(A) || A <- [Realm0, User0, Password0]],
    {ok, _} = application:ensure_all_started(diameter),
    ok = diameter:start_service(svc, [
        {'Origin-Host', ?HOST}, {'Origin-Realm', ?REALM}, {'Vendor-Id', 0}, {'Product-Name', "OTP diameter"},
        {'Auth-Application-Id', [6]}, {string_decode, false}, {decode_format, map}, {strict_mbit, true},
        {application, [{alias, sip}, {dictionary, rfc4740_sip}, {module, ?MODULE}, {answer_errors, callback}]}]),
    diameter:subscribe(svc),
    {ok, _} = diameter:add_transport(svc, {connect, [
        {transport_module, diameter_tcp}, {watchdog_timer, 6000},
        {transport_config, [{raddr, {127, 0, 0, 1}}, {rport, list_to_integer(atom_to_list(Port))}]}]}),
    receive {diameter_event, _, E} when element(1, E) == up -> say("up", []) after 10000 -> halt(1) end,
    Session = diameter:session_id(?HOST),
    First = ask("first", mar(Session, Realm, User, [])),
    #{'SIP-Auth-Data-Item' := [#{'SIP-Authenticate' := [#{'Digest-Nonce' := Nonce}]}]} = First,
    ask("wrong", mar(Session, Realm, User, [item(User, Realm, <<"guess">>, Nonce)])),
    Right = mar(Session, Realm, User, [item(User, Realm, Password, Nonce)]),
    ask("right", Right),
    ask("replay", Right#{'Session-Id' => diameter:session_id(?HOST)}),
    ask("realm", mar(Session, <<"other.example">>, User, [])),
    diameter:stop_service(svc),
    timer:sleep(300),
    halt(0).

mar(Session, Realm, User, Items) ->
    #{'Session-Id' => Session, 'Auth-Application-Id' => 6, 'Auth-Session-State' => 1, 'Origin-Host' => ?HOST,
      'Origin-Realm' => ?REALM, 'Destination-Realm' => Realm, 'SIP-AOR' => <<"sip:", User/binary, "@", Realm/binary>>,
      'SIP-Method' => "REGISTER", 'User-Name' => [User], 'SIP-Server-URI' => ["sip:registrar.example.net"],
      'SIP-Number-Auth-Items' => [1], 'SIP-Auth-Data-Item' => Items}.

item(User, Realm, Password, Nonce) ->
    Uri = <<"sip:", Realm/binary>>,
    Ha1 = hash([User, ":", Realm, ":", Password]),
    Response = hash([Ha1, ":", Nonce, ":00000001:0a4f:auth:", hash(["REGISTER:", Uri])]),
    #{'SIP-Authentication-Scheme' => 0, 'SIP-Authorization' => [
        #{'Digest-Username' => User, 'Digest-Realm' => Realm, 'Digest-Nonce' => Nonce, 'Digest-URI' => Uri,
          'Digest-Response' => Response, 'Digest-CNonce' => ["0a4f"], 'Digest-Nonce-Count' => ["00000001"],
          'Digest-Qop' => ["auth"], 'Digest-Algorithm' => ["MD5"], 'Digest-Method' => ["REGISTER"]}]}.

hash(Text) -> string:lowercase(binary:encode_hex(erlang:md5(Text))).

ask(Name, Mar) ->
    [Kind | #{'Result-Code' := Result} = Answer] = diameter:call(svc, sip, ['MAR' | Mar], []),
    say("~s ~s ~p", [Name, Kind, Result]),
    Answer.

say(Format, Values) -> io:format(Format ++ "~n", Values).

peer_up(_, _, State) -> State.
peer_down(_, _, State) -> State.
pick_peer([Peer | _], _, _, _) -> {ok, Peer};
pick_peer([], _, _, _) -> false.
prepare_request(#diameter_packet{msg = Message}, _, _) -> {send, Message}.
prepare_retransmit(Packet, _, _) -> {send, Packet}.
handle_answer(#diameter_packet{msg = Message, errors = Errors}, _, _, _) ->
    case Errors of [] -> ok; _ -> say("decode errors ~0p", [Errors]) end,
    Message.
handle_error(Reason, _, _, _) -> {error, Reason}.
handle_request(_, _, _) -> {answer_message, 3001}.
